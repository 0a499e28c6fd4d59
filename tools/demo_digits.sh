#!/usr/bin/env bash
# Train a small QKFormer on handwritten digits, test its best checkpoint and draw what it sees.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
CONFIG=configs/qkformer/hst-3-128_1xb64_digits.py
WORK_DIR=work_dirs/digits

rm -rf "$WORK_DIR"
"$PYTHON" tools/train.py "$CONFIG" --work-dir "$WORK_DIR"
BEST=$(ls "$WORK_DIR"/best_*.pth)
"$PYTHON" tools/test.py "$CONFIG" "$BEST" --work-dir "$WORK_DIR/test" \
    --out "$WORK_DIR/metrics.json" --out-item metrics
"$PYTHON" tools/visualization/draw_digits.py "$CONFIG" "$BEST" --out "$WORK_DIR/digits.png"
"$PYTHON" -c "import json; print('test top-1: %.2f %%' % json.load(open('$WORK_DIR/metrics.json'))['accuracy/top1'])"
echo "checkpoint: $BEST"
echo "picture: $WORK_DIR/digits.png"
