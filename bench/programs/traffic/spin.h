// A pod that wants all of a processor and never sleeps.
#pragma once

#include "traffic/arguments.h"

namespace weft::traffic {

// --seconds SECONDS
void run_spin(const Arguments& arguments);

}  // namespace weft::traffic
