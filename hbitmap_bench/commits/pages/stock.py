"""asv's own pages, made to need no other host and to take data for text.

asv's page names ten files on other hosts: blank, where those don't answer. Here they are the same
packages' files from npm. Some of asv's scripts put names into markup as they are; they are changed
at the places named below, and a version of asv that differs there is refused, not half changed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.pages.data import safe_json

PARTS: Final = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}
"""What asv's page calls a file, and where the packages have it (flot not minified)."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'"
)
"""No other host, and no script but those in files. flot and bootstrap set inline styles."""

_OUTSIDE: Final = re.compile(r'<(script|link)\b[^>]*?(?:src|href)="(https?:[^"]*)"[^>]*>')
_LOADED: Final = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:|//)")
_INLINE: Final = re.compile(r"<script[^>]*>\s*function js_load_failure.*?</script>", re.DOTALL)
_HEAD: Final = "<head>"
_NAV: Final = '<ul class="nav navbar-nav navbar-left">'
_SCRIPTS: Final = '<script language="javascript" type="text/javascript"\n            src="asv.js">'


class Patch(NamedTuple):
    """In one of asv's files, what stands there and what it becomes."""

    file: str
    old: str
    new: str


TEXT: Final = "$.hbitmapText"
"""Our function, in ``OURS``, that makes markup of text."""

OURS: Final = "hbitmap.js"
"""Loaded after jQuery and before asv's scripts."""

OURS_TEXT: Final = """\
'use strict';
/* Text, such as a machine's name, as markup that shows it. */
$.hbitmapText = function (text) {
    return String(text).replace(/[&<>"']/g, function (c) { return '&#' + c.charCodeAt(0) + ';'; });
};
/* A page that was opened from the file system may not fetch: there each X.json comes as a script,
   X.json.js, which puts its data here. */
$.hbitmapJSON = {};
if (window.location.protocol === 'file:') {
    $.ajaxTransport('json', function (options) {
        var url = options.url.split('?')[0];
        var tag = document.createElement('script');
        return {
            send: function (headers, complete) {
                tag.onload = function () {
                    complete(200, 'OK', {json: $.hbitmapJSON[decodeURIComponent(url)]});
                };
                tag.onerror = function () { complete(404, 'Not Found'); };
                tag.src = url + '.js';
                document.head.appendChild(tag);
            },
            abort: function () { tag.remove(); }
        };
    });
}
"""

PATCHES: Final = (
    Patch("asv_ui.js", "' + heading + '", f"' + {TEXT}(heading) + '"),
    Patch("graphdisplay.js", "' + parts[j] +", f"' + {TEXT}(parts[j]) +"),
    Patch(
        "graphdisplay.js",
        "#' + bm_name + '\">' + name +",
        f"#' + {TEXT}(bm_name) + '\">' + {TEXT}(name) +",
    ),
    Patch("graphdisplay.js", "title: bm.code", f"title: {TEXT}(bm.code)"),
    Patch("graphdisplay.js", "push(key + ': ' + val)", f"push({TEXT}(key + ': ' + val))"),
    Patch("graphdisplay.js", '\'>" + tag + "</div>', f'\'>" + {TEXT}(tag) + "</div>'),
    Patch("jquery.flot.axislabels.js", "' + opts.axisLabel + '", f"' + {TEXT}(opts.axisLabel) + '"),
    Patch("summarylist.js", "push(key + ': ' + val)", f"push({TEXT}(key + ': ' + val))"),
    Patch("summarygrid.js", "#' + bm.name +", f"#' + {TEXT}(bm.name) +"),
    Patch("summarygrid.js", "summarygrid-' + bm.name +", f"summarygrid-' + {TEXT}(bm.name) +"),
    Patch("summarygrid.js", "' + display_name + '", f"' + {TEXT}(display_name) + '"),
    Patch("summarygrid.js", "title: bm.name", f"title: {TEXT}(bm.name)"),
    Patch("summarygrid.js", "title: bm.code", f"title: {TEXT}(bm.code)"),
    Patch("summarygrid.js", "<h1>' + group + '</h1>", f"<h1>' + {TEXT}(group) + '</h1>"),
)
"""Every place of asv 0.6.6 that takes names, parameters, tags, code or fields of a machine for
markup. Elsewhere it sets text. Benchmarks' names are Python's, and so can't hold markup; they are
changed all the same, since nothing here checks them."""


def make_offline(folder: Path, parts_dir: Path) -> None:
    """Change the pages that asv has published into a folder, in place.

    ``parts_dir`` is the folder ``node_modules``. Raises ``UserError`` where asv's pages are not
    those of the version that this was written for.
    """
    page = folder / "index.html"
    page.write_text(_page(page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "parts").mkdir()
    for name, part in PARTS.items():
        shutil.copyfile(parts_dir / part, folder / "parts" / name)
    for patch in PATCHES:
        path = folder / patch.file
        path.write_text(_patched(path.read_text(encoding="utf-8"), patch), encoding="utf-8")
    (folder / OURS).write_text(OURS_TEXT, encoding="utf-8")
    for path in folder.rglob("*.json"):
        _add_script(folder, path)


def _page(text: str) -> str:
    """The index.html of asv with local parts, a policy, our script, and a way back."""
    text = _INLINE.sub("", text)
    text = _OUTSIDE.sub(_local, text)
    for place, added in (
        (_HEAD, f'\n    <meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        (_NAV, '\n        <li><a href="../index.html">hbitmap-bench</a></li>'),
    ):
        _require(place in text, "index.html", place)
        text = text.replace(place, place + added, 1)
    _require(_SCRIPTS in text, "index.html", _SCRIPTS)
    text = text.replace(_SCRIPTS, f'<script src="{OURS}"></script>\n    {_SCRIPTS}', 1)
    left = _LOADED.search(text)
    if left:
        raise UserError(
            f"asv's page would load {left[0]} from another host: pin asv as pyproject has it"
        )
    return text


def _local(tag: re.Match[str]) -> str:
    """A tag that loads the local copy. Integrity is npm's to check, when it installs."""
    name = tag[2].rsplit("/", 1)[-1]
    if name not in PARTS:
        raise UserError(
            f"asv's page loads {tag[2]}, which has no local copy: pin asv as pyproject has it"
        )
    if tag[1] == "script":
        return f'<script src="parts/{name}">'
    return f'<link rel="stylesheet" href="parts/{name}">'


def _patched(text: str, patch: Patch) -> str:
    _require(patch.old in text, patch.file, patch.old)
    return text.replace(patch.old, patch.new)


def _require(found: bool, file: str, what: str) -> None:
    if not found:
        raise UserError(
            f"asv's {file} has no {what!r}, as version 0.6.6 has: pin asv as pyproject has it"
        )


def _add_script(folder: Path, path: Path) -> None:
    """The same data as a script, for pages that are opened from the file system."""
    name = safe_json(path.relative_to(folder).as_posix())
    content = path.read_text(encoding="utf-8")
    path.with_name(f"{path.name}.js").write_text(f"$.hbitmapJSON[{name}] = {content};\n")
