"""The agent's settings: the only reader of the environment on the agent's side.

Names, ranges and defaults of the first group are contract 6.1; the rest is additive. `docs/settings.md` is generated
from this class. A `.env` file in the working directory is read too; the environment wins; names we do not know in it
are ignored (a proxy variable there must not stop the agent).
"""

from __future__ import annotations

import ipaddress
import platform
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from easyalert.errors import ConfigurationError
from easyalert.protocol.keytext import KEY_BYTES, exact_base64
from easyalert.protocol.limits import MAX_CONCURRENT_JOBS_MAX
from easyalert.setting_places import Places
from easyalert.setting_values import absolute, key_in, parts_of, url_scheme

HEARTBEAT_INTERVAL_CAP_S = 45
"""Agents silent for 60 s lose health points and for 90 s are offline; half of that leaves room for one lost beat."""


class AgentSettings(Places, BaseSettings):
    """Everything a person may set on an agent. Environment names are the field names in upper case."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        # names are case-sensitive (contract 6.1): a stray `log_level` of some other program is not ours
        case_sensitive=True,
        alias_generator=str.upper,
    )

    agent_api_url: str = Field(description="Base URL of the control plane, https or http; a path prefix is kept.")
    agent_api_key: SecretStr = Field(description="This agent's key. It also opens the vault.")
    agent_api_key_file: Path | None = Field(
        default=None,
        description="File with the key, read when AGENT_API_KEY is not set: how containers hand secrets over.",
    )
    agent_api_key_previous: SecretStr | None = Field(
        default=None,
        description="The key before a rotation; start-up then finishes an interrupted rotation.",
    )
    agent_api_key_new: SecretStr | None = Field(
        default=None,
        description="Read by `easyalert-agent vault rekey` only: the key after the rotation.",
    )
    agent_name: str = Field(default="", description="Name shown to operators. Default: the host's node name.")
    poll_interval: int = Field(
        default=5, ge=1, description="Seconds between polls while idle, where the server offers no long poll."
    )
    heartbeat_interval: int = Field(
        default=30,
        ge=1,
        description=f"Seconds between heartbeats; capped at {HEARTBEAT_INTERVAL_CAP_S}.",
    )
    max_concurrent_jobs: int = Field(
        default=5,
        ge=1,
        le=MAX_CONCURRENT_JOBS_MAX,
        description="Jobs that run at once, each in its own process.",
    )
    admin_port: int = Field(default=9191, ge=1, le=65535, description="Port of the admin API on 127.0.0.1.")
    admin_token: SecretStr | None = Field(
        default=None,
        description="Bearer token of the admin API. Default: generated, kept in `STATE_DIR/admin_token`.",
    )
    vault_path: Path = Field(default=Path(), description="The credential file. Default: `STATE_DIR/vault.json`.")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR; unknown names mean INFO.")
    allow_private_network: bool = Field(
        default=False, description="Lets the http executor reach private addresses (cloud metadata stays refused)."
    )
    allow_os_restart: bool = Field(default=False, description="Lets `os.restartOS` restart this host.")

    state_dir: Path = Field(
        default=Path("~/.easyalert"), description="Folder of everything the agent keeps; one agent per folder."
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="A Redis of your own (`redis://…`). Default: an embedded one on a unix socket.",
    )
    http_allowed_networks: Annotated[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], NoDecode] = Field(
        default=(), description="Comma-separated CIDRs of private networks the http executor may reach."
    )
    shutdown_grace_seconds: int = Field(
        default=30, ge=0, le=3600, description="How long running jobs may go on after SIGTERM before they are cut off."
    )
    cancel_grace_seconds: int = Field(
        default=10, ge=0, le=300, description="How long a cancelled job may go on after SIGTERM before it is killed."
    )
    long_poll_seconds: int = Field(
        default=25, ge=0, le=25, description="Longest wait of one long poll, where the server offers it; 0: off."
    )
    script_max_processes: int = Field(
        default=512,
        ge=0,
        description="Processes and threads a job's programs may have at once on this host; 0: no limit.",
    )
    script_max_cpu_seconds: int = Field(
        default=3600, ge=0, description="CPU time each process of a script may use, seconds; 0: no limit."
    )
    script_max_memory_mb: int = Field(
        default=2048,
        ge=0,
        description="Memory of a script's job, MB, where the agent can make control groups; elsewhere of each of its"
        " processes (private writable memory); 0: no limit.",
    )
    script_max_open_files: int = Field(
        default=4096, ge=0, description="Files each process of a script may have open; 0: no limit."
    )
    script_isolation: str = Field(
        default="auto",
        pattern=r"^(auto|userns|none|(auto|user):[a-z_][a-z0-9_-]{0,31})$",
        description="What keeps scripts from the agent's own files and processes, see isolation.md: `userns`,"
        " `user:NAME`, `none`, or `auto`: userns where that works, else none. A way asked for by name that does not"
        " work has every script refused.",
    )
    script_hidden_paths: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="More files and folders that scripts do not see with `userns`, comma-separated whole paths; the"
        " agent's own are hidden anyway.",
    )
    custom_actions_dir: Path | None = Field(
        default=None,
        description="Folder of your own actions: an executable NAME in it is `custom.NAME`, see executors/custom.md."
        " Folder and files have to belong to root or the agent's account; nobody else may write there.",
    )
    min_free_disk_mb: int = Field(
        default=256, ge=0, description="Below this much free disk (or 5 % of it) the agent takes no new jobs."
    )

    policy_file: Path = Field(
        default=Path(),
        description="What this agent may do, see policy.md. Default: `STATE_DIR/policy.toml`, and without that file all"
        " is allowed; a file that is named here has to exist.",
    )
    job_signatures: Literal["off", "warn", "require"] = Field(
        default="off",
        description="Whether jobs have to be signed by a trusted key: `warn` runs the others and says so in the log.",
    )
    job_signature_keys: str = Field(default="", description="Trusted Ed25519 public keys in base64, comma-separated.")
    job_signature_keys_file: Path | None = Field(
        default=None, description="File with more trusted keys, one a line; read anew when it changes."
    )
    job_signature_audience: str = Field(
        default="",
        description="Names that signed jobs may be for, comma-separated: this agent's id, `pool:` and its pool's id."
        " Needed with `JOB_SIGNATURES=require`; with `warn` the default is the id the control plane gave.",
    )

    credential_delivery: Literal["any", "sealed"] = Field(
        default="any",
        description="Whether the control plane may deliver credentials that it can read: `sealed` refuses all that are"
        " not sealed to this agent's key (sealed.md).",
    )

    ssh_host_keys: Literal["strict", "tofu"] = Field(
        default="strict",
        description="What happens with an SSH host whose key nobody knows: `strict` refuses it until"
        " `easyalert-agent vault scan-host` has pinned its key, `tofu` pins the key it shows on first use. A key that"
        " is pinned and changes is refused either way.",
    )

    def __init__(self, **values: Any) -> None:
        # in code settings go by field name, in the environment by the same name in upper case
        fields = type(self).model_fields
        super().__init__(**{name.upper() if name in fields else name: value for name, value in values.items()})

    @field_validator("agent_api_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        url = value.strip()
        if url_scheme(url) not in {"http", "https"}:
            msg = "must start with https:// or http:// and name a host, for example https://automation.example.com"
            raise ValueError(msg)
        if "@" in urlsplit(url).netloc or "?" in url or "#" in url:
            raise ValueError("must not hold a query, a fragment or a user name")
        return url

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and url_scheme(value.get_secret_value()) not in {"redis", "rediss", "unix"}:
            raise ValueError("must start with redis://, rediss:// or unix://, for example redis://127.0.0.1:6379/0")
        return value

    @field_validator("state_dir", "vault_path", "policy_file")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value if value == Path() else absolute(value)

    @field_validator("custom_actions_dir")
    @classmethod
    def _whole_path(cls, value: Path | None) -> Path | None:
        return None if value is None or value == Path() else absolute(value)

    @field_validator("script_hidden_paths", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        paths = [Path(part) for part in parts_of(value)] if isinstance(value, str) else value
        if any(not Path(path).is_absolute() or Path(path) == Path("/") for path in paths):
            raise ValueError("must be whole paths separated by commas, for example /etc/easyalert,/srv/secrets")
        return tuple(paths)

    @field_validator("http_allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            raise ValueError("must be networks separated by commas, for example 10.0.0.0/8,fd00::/8") from None

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, data: dict[str, Any]) -> dict[str, Any]:
        # compose files pass `NAME=` for what nobody set; for optional settings that means the default
        given = {
            name: value
            for name, value in data.items()
            if name in {"AGENT_API_URL", "AGENT_API_KEY"} or not (isinstance(value, str) and not value.strip())
        }
        key_file, key = given.get("AGENT_API_KEY_FILE"), given.get("AGENT_API_KEY")
        if key_file and (key is None or (isinstance(key, str) and not key.strip())):
            given["AGENT_API_KEY"] = key_in(Path(key_file))
        return given

    @model_validator(mode="after")
    def _fill_in(self) -> AgentSettings:
        values = self.__dict__  # the model is frozen; derived defaults are completed once, here
        values["agent_name"] = self.agent_name or platform.node() or "agent"
        values["state_dir"] = absolute(self.state_dir)
        values["vault_path"] = self.state_dir / "vault.json" if self.vault_path == Path() else self.vault_path
        values["policy_file"] = self.policy_file if self.policy_named else self.state_dir / "policy.toml"
        if self.job_signature_keys_file is not None:
            values["job_signature_keys_file"] = absolute(self.job_signature_keys_file)
        self._check_signatures()
        values["heartbeat_interval"] = min(self.heartbeat_interval, HEARTBEAT_INTERVAL_CAP_S)
        return self

    def _check_signatures(self) -> None:
        if any(exact_base64(key, KEY_BYTES) is None for key in self.signature_keys):
            raise ValueError("JOB_SIGNATURE_KEYS: must be Ed25519 public keys, 32 bytes in base64, comma-separated")
        if self.job_signatures == "off":
            return
        if not self.signature_keys and self.job_signature_keys_file is None:
            raise ValueError(
                f"JOB_SIGNATURES={self.job_signatures} needs JOB_SIGNATURE_KEYS or JOB_SIGNATURE_KEYS_FILE:"
                " whose signatures count"
            )
        if self.job_signatures == "require" and not self.signature_audience:
            # the control plane could otherwise give this agent another one's id, and that one's jobs
            raise ValueError(
                "JOB_SIGNATURES=require needs JOB_SIGNATURE_AUDIENCE: the names signed jobs may be for,"
                " for example agt_01JV…,pool:default"
            )

    @property
    def policy_named(self) -> bool:
        """Whether POLICY_FILE was set: that file has to exist."""
        return "policy_file" in self.model_fields_set and self.policy_file != Path()

    @property
    def signature_keys(self) -> list[str]:
        """JOB_SIGNATURE_KEYS, as written."""
        return parts_of(self.job_signature_keys)

    @property
    def signature_audience(self) -> list[str]:
        """JOB_SIGNATURE_AUDIENCE, as written."""
        return parts_of(self.job_signature_audience)

    @property
    def embedded_redis(self) -> bool:
        """True when the agent runs its own Redis."""
        return self.redis_url is None

    def secrets(self) -> list[str]:
        """Every secret string among the settings, for redaction."""
        wanted = (
            self.agent_api_key,
            self.agent_api_key_previous,
            self.agent_api_key_new,
            self.admin_token,
            self.redis_url,
        )
        found = [secret.get_secret_value() for secret in wanted if secret is not None]
        password = urlsplit(self.redis_url.get_secret_value()).password if self.redis_url else None
        # on its own too, as the server's messages and URLs without it spell it
        return [*found, password, unquote(password)] if password else found


def load_settings(**overrides: Any) -> AgentSettings:
    """Read the settings; `overrides` win over the environment (tests, command-line flags).

    Raises ConfigurationError with one sentence per wrong setting, values never shown.
    """
    try:
        return AgentSettings(**overrides)
    except ValidationError as error:
        raise ConfigurationError(explain(error)) from None
    except OSError as error:
        raise ConfigurationError(f"the file .env cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError("the file .env is not text in UTF-8") from None


def explain(error: ValidationError) -> str:
    """One line per wrong setting: its environment name and what to do. Never the value: it may be a secret."""
    lines = []
    for item in error.errors(include_input=False, include_url=False):
        text = "is required but not set" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
        # what concerns several settings has no place, and names them itself
        lines.append(f"{item['loc'][0]}: {text}" if item["loc"] else text)
    return "; ".join(lines)
