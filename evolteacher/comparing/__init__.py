"""Whether one dataset teaches more than another: both trained on alike, and measured on what neither has seen."""
