#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_page
short_description: Show a page instead of the site, or the site again
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - nginx answers every request with C(maintenance_on.html), if the application's directory has that file. The switch is
    one atomic rename of C(maintenance_off.html), or back. Nothing is reloaded.
  - The page is replaced in one step as well, shown or not, so that nobody gets half of one.
  - What is shown follows from the files alone. Both files, or neither, are made one.
options:
  root:
    description: The application's directory.
    type: path
    required: true
  active:
    description:
      - Whether everybody gets the page.
      - Without it the page is written under the name it has. A page that is shown then stays as it is.
    type: bool
  content:
    description: The page. Without it the one that is there is taken.
    type: str
  shown_by:
    description:
      - Who asks. It is noted in the last line of a page that is shown.
      - A V(deploy) neither changes nor removes the page that an V(operator) shows.
    type: str
    choices: [operator, deploy]
    default: operator
attributes:
  check_mode:
    description: Returns the same and changes nothing.
    support: full
  diff_mode:
    description: Shows the files' names and texts.
    support: full
seealso:
  - module: carpentries.webapps.maintenance_info
"""

EXAMPLES = r"""
- name: Install the page
  carpentries.webapps.maintenance_page:
    root: /webapps/amy.example.org
    content: "{{ lookup('ansible.builtin.template', 'maintenance.html.j2') }}"

- name: Show it
  carpentries.webapps.maintenance_page:
    root: /webapps/amy.example.org
    active: true

- name: Show the site again
  carpentries.webapps.maintenance_page:
    root: /webapps/amy.example.org
    active: false
"""

RETURN = r"""
active:
  description: Whether everybody gets the page now. In check mode, whether they would.
  returned: success
  type: bool
  sample: true
shown_by:
  description: Who shows it, V(operator) or V(deploy). V(none) while it is not shown.
  returned: success
  type: str
  sample: operator
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import maintenance
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "active": {"type": "bool"},
            "content": {"type": "str"},
            "shown_by": {"type": "str", "choices": ["operator", "deploy"], "default": "operator"},
        },
        supports_check_mode=True,
    )
    layout = Layout(Path(module.params["root"]))
    wish = maintenance.Wish(module.params["active"], module.params["content"], module.params["shown_by"])
    try:
        before = maintenance.look(layout)
        after = maintenance.settled(before, wish, layout)
        if not module.check_mode:
            maintenance.apply(layout, before, after, Files())
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    except OSError as error:
        module.fail_json(
            msg=f"The page in {layout.root} cannot be changed: {error}. Run role app_directory first, "
            "and this with become: true."
        )
    module.exit_json(
        changed=before != after,
        diff=maintenance.difference(layout, before, after),
        **maintenance.described(after),
    )


if __name__ == "__main__":
    main()
