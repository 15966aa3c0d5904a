"""How a toy answers its open problem: replicas measured against a null, judged by the rule that stood in its config."""
