"""AWS on one machine: moto, and beside it what moto lacks."""
