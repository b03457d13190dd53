"""A real browser (Debian's Chromium, headless): scripts of other origins, uploads by form, buckets as websites."""

import pytest

from conftest import HERE


@pytest.mark.parametrize("scenario", ["cors", "website"])
def test_a_browser(run, server, bucket, tmp_path, scenario):
    profile = tmp_path / "profile"
    profile.mkdir()
    script = HERE / "javascript" / "browser.js"
    printed = run("node", script, scenario, server.endpoint, bucket, profile, environment={"NODE_NO_WARNINGS": "1"})
    assert "all as expected" in printed
