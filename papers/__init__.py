"""Models of the literature, each as the difference to looped.py: `train.py --model NAME`."""
