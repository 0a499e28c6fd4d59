# The release's behaviour and recipe: neurons leak between the images of a batch, no average of the
# weights. A neighbour in a batch shows, so tests have the release's batches, of 32 images sorted by
# class, on any number of processes; and its float16.
_base_ = [
    '../../_base_/models/qkformer/hst-10-384.py',
    '../../_base_/datasets/imagenet_224.py',
    '../../_base_/schedules/imagenet_200e.py',
    '../../_base_/default_runtime.py',
]

model = dict(backbone=dict(release_batch_leak=True))
val_dataloader = dict(batch_size=32, batch_sampler=dict(type='ContiguousBatchSampler'))
test_dataloader = val_dataloader
val_cfg = dict(fp16=True)
test_cfg = dict(fp16=True)
