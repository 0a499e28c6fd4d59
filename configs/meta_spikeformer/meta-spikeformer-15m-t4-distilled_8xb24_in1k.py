# Fine-tunes the weights trained with one time step (load_from) with four, and distils: a second
# classifier learns the labels that CAFormer-B36 gives the augmented images, and the mean of both is
# tested. The teacher is timm's (`pip install timm`), whose weights are downloaded in the first
# training step; for a file of your own, pretrained=False and checkpoint_path='...'.
_base_ = 'meta-spikeformer-15m-t4_8xb24_in1k.py'

model = dict(
    type='DistilledClassifier',
    teacher=dict(
        type='TimmClassifier', model_name='caformer_b36.sail_in22k_ft_in1k', pretrained=True
    ),
    head=dict(distill_weight=0.5),
)
