"""How reward models are judged on series that no training has seen: tables and figures."""
