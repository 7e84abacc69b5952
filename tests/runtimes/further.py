"""Runtimes that are not shipped: an operator adds them by editing the catalogue, and it alone."""

from __future__ import annotations

from typing import Final

from tests.runtimes.programs import HERE, ROOT

SHIPPED: Final = ROOT / "provision_service" / "catalogue" / "catalogue.yaml"
_PAGE: Final = ROOT / "provision_service" / "README.md"


def edited_catalogue() -> str:
    """The shipped file with the README's runtime and another one at its end."""
    blocks = _PAGE.read_text("utf-8").split("```yaml\n")[1:]
    (in_the_page,) = (each.split("```")[0] for each in blocks if "- name: opencode" in each)
    another = HERE.joinpath("qwen-code.yaml").read_text("utf-8")
    return "\n".join([SHIPPED.read_text("utf-8"), in_the_page, another])
