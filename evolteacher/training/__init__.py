"""Training: what a recipe's ``train:`` says, carried out with TRL's SFTTrainer, which nothing imports before."""
