//! The mount API of Linux 5.2 and later: open_tree(2), move_mount(2), fsopen(2), mount_setattr(2).
