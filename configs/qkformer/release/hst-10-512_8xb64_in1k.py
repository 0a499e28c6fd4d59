# The release's behaviour and recipe: neurons leak between the images of a batch, no average of the
# weights. Test with one process: the images are sorted by class, 32 a batch, and a neighbour shows.
_base_ = [
    '../../_base_/models/qkformer/hst-10-512.py',
    '../../_base_/datasets/imagenet_224.py',
    '../../_base_/schedules/imagenet_200e.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(release_batch_leak=True))
val_dataloader = dict(batch_size=32)
test_dataloader = dict(batch_size=32)
