"""How many steps magnified NCE needs on exponential families: the N2CE paper's theorem."""
