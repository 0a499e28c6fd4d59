# A decay of 0.9999 per optimizer step. Both sets of weights are validated, the average is saved; a
# config with it chooses the best by save_best='accuracy_ema/top1'.
custom_hooks = [dict(type='OptimStepEMAHook', momentum=1e-4)]
