#!/usr/bin/env bash
# Runs once, when the image is made: installs Python and the packages. The CPU build of PyTorch is
# much smaller than the usual one.
set -euo pipefail
apt-get update && apt-get install -y python3 python3-venv
python3 -m venv /opt/course
grep -v pytest /autograder/source/requirements.txt > /tmp/requirements.txt
/opt/course/bin/pip install --extra-index-url https://download.pytorch.org/whl/cpu -r /tmp/requirements.txt
