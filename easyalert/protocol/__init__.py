"""The wire between agent and control plane, as models both sides share (contract sections 1 and 2).

Evolution rule: models are append-only. A field is never renamed, retyped or removed; a new one has a default and is
ignored by a peer that does not know it. What goes beyond the base protocol is used only when it was offered in
`RegisterData.features`. Recorded samples of every version are tests.
"""
