"""Looking into a trained network: what each layer makes of a picture, and what an answer rests on."""
