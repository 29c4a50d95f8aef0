"""USD's own validators over a stage."""

from pxr import Usd, UsdValidation

# They judge a file's packaging, which a stage in memory has not.
SKIPPED = ('usdUtilsValidators:',)


def problems(stage: Usd.Stage) -> list[str]:
    """One sentence each; none for a stage that is in order."""
    validators = [one for one in UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
                  if not one.GetMetadata().name.startswith(SKIPPED)]
    return [error.GetErrorAsString()
            for error in UsdValidation.ValidationContext(validators).Validate(stage)]
