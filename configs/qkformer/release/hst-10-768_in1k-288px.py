# Tests the weights trained at 224 x 224 at 288 x 288: resized to 288, then cropped. The release's
# batch for it is not known; this is the one of 224 x 224.
_base_ = 'hst-10-768_8xb72_in1k.py'

test_pipeline = [
    dict(type='LoadVerifiedImage'),
    dict(type='ResizeEdge', scale=288, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=288),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
