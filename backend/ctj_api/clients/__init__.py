"""The services of others that are asked over the network."""
