"""Links and tables that pages need not spell out."""

import re
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "images" / "results"
ENTRY = re.compile(r"^\.\. auto(?:function|class|exception):: (\S+)", re.MULTILINE)


def offer_files_outside(app, docname, source):
    """Turns links to Markdown files outside docs, which work in the repository, into downloads."""
    source[0] = re.sub(r"\[([^]]+)\]\(((?:\.\./)+[^)#]+\.md)\)", _outside(docname), source[0])


def _outside(docname):
    depth = docname.count("/")

    def link(match):
        text, path = match.groups()
        if path.count("../") > depth:
            return f"{{download}}`{text} <{path}>`"
        return match[0]

    return link


def summarize(app, docname, source):
    """Puts a table of a page's names at its top, where the page of the API has `{summary}`."""
    if "```{summary}\n```" in source[0]:
        names = "\n".join(f"   {name}" for name in ENTRY.findall(source[0]))
        table = f"```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{names}\n```"
        source[0] = source[0].replace("```{summary}\n```", table)


def show_figures(app, docname, source):
    """Puts the small figures of every experiment where the page on results has `{figures}`."""
    if "```{figures}\n```" in source[0]:
        topics = "\n\n".join(_topic(folder) for folder in sorted(PICTURES.iterdir()))
        source[0] = source[0].replace("```{figures}\n```", topics)


def _topic(folder):
    cards = "\n".join(_card(path) for path in sorted(folder.glob("*.png")))
    readme = f"{{download}}`What was computed <../experiments/{folder.name}/README.md>`"
    title = folder.name.replace("_", " ").capitalize()
    return f"### {title}\n\n{readme}\n\n::::{{grid}} 1 1 2 2\n:gutter: 2\n\n{cards}\n::::"


def _card(path):
    place = path.relative_to(PICTURES.parents[1])
    name = path.stem.removeprefix(f"{path.parent.name}_").replace("_", " ")
    return f""":::{{grid-item}}
```{{image}} {place}
:alt: {name}
:target: _images/{path.name}
```
<small>{name}</small>
:::
"""


def setup(app):
    app.connect("source-read", offer_files_outside)
    app.connect("source-read", summarize)
    app.connect("source-read", show_figures)
    return {"parallel_read_safe": True}
