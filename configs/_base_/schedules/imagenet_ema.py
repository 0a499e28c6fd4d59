# A decay of 0.9999 per optimizer step; validation and the saved weights are the average's.
custom_hooks = [dict(type='OptimStepEMAHook', momentum=1e-4)]
