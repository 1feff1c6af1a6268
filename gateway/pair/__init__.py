"""The pair: who is Main. The role machine and all it decides by are pure; links come beside it."""
