"""Does an M that is chosen do as well as the best of a grid in hindsight?"""
