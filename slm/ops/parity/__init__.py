from slm.ops.parity.bounds import BOUNDS, Bounds
from slm.ops.parity.certificate import CERTIFICATE, Certificate, Check, certificate_of

__all__ = ["BOUNDS", "CERTIFICATE", "Bounds", "Certificate", "Check", "certificate_of"]
