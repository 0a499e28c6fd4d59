#!/usr/bin/env bash
# Train a small spiking RetinaNet to find handwritten digits on textured canvases,
# test its best checkpoint and draw what it sees.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
CONFIG=configs/detection/retinanet_hst-3-128_fpn_digits.py
WORK_DIR=work_dirs/digits_det

"$PYTHON" tools/dataset_converters/make_digits_coco.py data/digits_coco
rm -rf "$WORK_DIR"
"$PYTHON" tools/train.py "$CONFIG" --work-dir "$WORK_DIR"
BEST=$(ls "$WORK_DIR"/best_*.pth)
"$PYTHON" tools/test.py "$CONFIG" "$BEST" --work-dir "$WORK_DIR/test" \
    --out "$WORK_DIR/metrics.json" --out-item metrics
"$PYTHON" tools/visualization/draw_scenes.py "$CONFIG" "$BEST" --out "$WORK_DIR/scenes.png"
"$PYTHON" -c "import json; print('test bbox mAP@0.5: %.3f' % json.load(open('$WORK_DIR/metrics.json'))['coco/bbox_mAP_50'])"
echo "checkpoint: $BEST"
echo "picture: $WORK_DIR/scenes.png"
