"""Links and tables that pages need not spell out."""

import re

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


def setup(app):
    app.connect("source-read", offer_files_outside)
    app.connect("source-read", summarize)
    return {"parallel_read_safe": True}
