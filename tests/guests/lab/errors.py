"""What can go wrong in the lab."""


class LabError(Exception):
    """The lab itself failed: QEMU ended, the guest did not boot, the shell is deaf."""


class LabUnavailable(LabError):
    """Real guests can't be had on this machine; the message says what to install or run."""


class ShellError(LabError):
    """A command inside the guest failed.

    Attributes:
        command: what was run.
        code: its exit status; 124 when it outlived its timeout, None when the guest is mute.
        output: what it printed until then.
    """

    def __init__(self, command: str, code: int | None, output: str) -> None:
        self.command = command
        self.code = code
        self.output = output
        how = "no answer from the guest's shell" if code is None else f"exit {code}"
        super().__init__(f"{how}: {command!r}: {output.strip()[-400:]!r}")


class QmpError(LabError):
    """QEMU answered a monitor command with an error.

    Attributes:
        command: the QMP command.
        kind: QMP's error class, such as `GenericError`.
        description: QMP's text.
    """

    def __init__(self, command: str, kind: str, description: str) -> None:
        self.command = command
        self.kind = kind
        self.description = description
        super().__init__(f"{command}: {kind}: {description}")
