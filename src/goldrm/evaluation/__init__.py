"""How a reward model is judged on series that no training has seen: tables and figures."""
