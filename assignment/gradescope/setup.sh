#!/usr/bin/env bash
# Once, when the image is made: Python and the packages. The CPU build of PyTorch is much smaller.
set -euo pipefail
apt-get update && apt-get install -y python3 python3-venv
python3 -m venv /opt/course
grep -v pytest /autograder/source/requirements.txt > /tmp/requirements.txt
/opt/course/bin/pip install --extra-index-url https://download.pytorch.org/whl/cpu -r /tmp/requirements.txt
