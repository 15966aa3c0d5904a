"""What is done with a trained toy afterwards: widened arms and their controls."""
