#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_default_site
short_description: Remove the site that Debian's nginx comes with
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Removes C(/etc/nginx/sites-enabled/default) as long as it is the link to the packaged file, and that file has the
    content that dpkg noted.
  - Fails, and leaves everything in place, if it is anything else. Somebody's site may be in it.
attributes:
  check_mode:
    description: Tells whether the link would be removed, and fails where it is somebody's own.
    support: full
  diff_mode:
    description: Names the link.
    support: full
"""

EXAMPLES = r"""
- name: Remove the distribution's default site
  carpentries.webapps.nginx_default_site:
"""

RETURN = r"""
path:
  description: The link.
  returned: success
  type: str
  sample: /etc/nginx/sites-enabled/default
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.nginx_default_site import Places, remove


def main() -> None:
    module = AnsibleModule({}, supports_check_mode=True)
    places = Places()
    try:
        removed = remove(places, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(
        changed=removed,
        path=str(places.enabled),
        diff={"before": f"{places.enabled}\n" if removed else "", "after": ""},
    )


if __name__ == "__main__":
    main()
