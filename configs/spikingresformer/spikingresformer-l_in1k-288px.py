# Tests the weights trained at 224 x 224 at 288 x 288: 95 % of the short edge, 303 pixels. As in the
# release, the attention's scale is that of the number of patches at this size.
_base_ = 'spikingresformer-l_8xb16_in1k.py'

test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 303
test_pipeline[2].crop_size = 288
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
