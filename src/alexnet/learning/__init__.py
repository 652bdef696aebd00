"""The network in torch: its model, its weights on disk, training and evaluation."""
