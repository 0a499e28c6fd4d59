# Tests the weights trained at 224 x 224 at 288 x 288: resized to 320, then cropped.
_base_ = 'ms-resnet-104-t5_8xb32_in1k.py'

test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 320
test_pipeline[2].crop_size = 288
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
