"""`cxr-infer` with the small studies of these tests instead of the lab's own: driver.py ARGUMENTS."""

from cxr_infer.cli.commands import main
from cxr_infer.lab.studies import STUDIES
from tests.infer.lab.protocols import FAKES

if __name__ == "__main__":
    STUDIES.clear()
    STUDIES.update(FAKES)
    main()
