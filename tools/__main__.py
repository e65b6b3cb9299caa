"""``python -m tools``: what there is, and what each is for."""

import tools

if __name__ == "__main__":
    tools.show(tools)
