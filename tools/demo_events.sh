#!/usr/bin/env bash
# Film handwritten digits with the event camera in software, prepare the films, train a small
# QKFormer on them, test its best checkpoint and draw what it sees.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
CONFIG=configs/qkformer/hst-2-64-t8_1xb32_digits-events.py
FILMS=data/digits_films
STORES=data/digits_events
WORK_DIR=work_dirs/digits_events

"$PYTHON" tools/misc/film_images.py "$FILMS" --sensor-size 34 34 --max-events 30000
"$PYTHON" tools/dataset_converters/prepare_events.py "$FILMS" "$STORES" --sensor-size 34 34
rm -rf "$WORK_DIR"
"$PYTHON" tools/train.py "$CONFIG" --work-dir "$WORK_DIR"
BEST=$(ls "$WORK_DIR"/best_*.pth)
"$PYTHON" tools/test.py "$CONFIG" "$BEST" --work-dir "$WORK_DIR/test" \
    --out "$WORK_DIR/metrics.json" --out-item metrics
"$PYTHON" tools/visualization/draw_events.py "$CONFIG" "$BEST" --out "$WORK_DIR/events.gif"
"$PYTHON" -c "import json; print('test top-1: %.2f %%' % json.load(open('$WORK_DIR/metrics.json'))['accuracy/top1'])"
echo "checkpoint: $BEST"
echo "picture: $WORK_DIR/events.gif"
