// SPDX-License-Identifier: Apache-2.0
#include "block/request.h"

namespace remora::block {

void complete_batch(RequestBatch& batch) {
    while (Request* first = batch.pop_front()) {
        Completer* completer = first->top_frame().completer;
        RequestBatch run;
        run.push_back(*first);
        while (!batch.empty() && batch.front()->top_frame().completer == completer) {
            run.push_back(*batch.pop_front());
        }
        completer->complete(run);
        CHECK(run.empty());
    }
}

}  // namespace remora::block
