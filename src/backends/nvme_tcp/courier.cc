// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/courier.h"

#include "backends/nvme_tcp/lane.h"

namespace remora::backends::nvme_tcp {

void Courier::send() {
    if (away_ || (requests_.empty() && finished_.empty())) {
        return;
    }
    away_ = true;
    requests_away_.append(requests_);
    finished_away_.append(finished_);
    to_.reactor().post(*this);
}

void Courier::run() {
    to_.on_courier(from_, requests_away_, finished_away_);
    CHECK(requests_away_.empty() && finished_away_.empty());
    from_.reactor().post(back_);
}

}  // namespace remora::backends::nvme_tcp
