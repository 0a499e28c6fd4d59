# Tests the weights trained at 224 x 224 at 288 x 288: resized to 288, then cropped.
_base_ = 'sdt-v1-8-768_8xb36_in1k.py'

test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = test_pipeline[2].crop_size = 288
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
