# The MLP of the release's code; the 1.50 M parameters of the paper are those of ratio 1.
_base_ = 'hst-2-256-t16_1xb16_dvs128.py'

model = dict(backbone=dict(arch=dict(mlp_ratios=[4, 4])))
