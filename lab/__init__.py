"""The whole system on one machine: reads the product's templates, tables and logs, imports none of its code."""
