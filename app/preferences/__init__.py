"""What a person wants to be told, how, and when: the values, and the one evaluator of them. No I/O."""
