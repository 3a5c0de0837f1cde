// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/process_limits.h"

#include <sys/resource.h>

namespace remora::reactor {

void allow_descriptors() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));  // goes on with what there was
    }
}

}  // namespace remora::reactor
