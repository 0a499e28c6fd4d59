# SGD, 256 images per optimizer step; the rate changes once per epoch, from the peak to 0, without a
# warm-up. The release builds its schedule one epoch ahead: the first epoch has the second's rate,
# and the last, of rate 0, only updates the norms' statistics. Everything decays, norms and biases
# too.
_base_ = 'imagenet_320e_sgd.py'

optim_wrapper = dict(optimizer=dict(weight_decay=1e-5), paramwise_cfg=dict(_delete_=True))
param_scheduler = dict(max_epochs=125, epoch_offset=1)
train_cfg = dict(max_epochs=125)
