// SPDX-License-Identifier: Apache-2.0
// QosVolumes: OPI's QoS volumes. One is no volume of its own: it limits the volume that it names,
// for all who use that, and is another name for it. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class QosVolumes {
  public:
    explicit QosVolumes(Context& context) : context_(context) {}

    Task<core::Result<opi::QosVolume>> create(const opi::CreateQosVolumeRequest& request);
    Task<core::Result<Empty>> remove(const opi::DeleteQosVolumeRequest& request);
    Task<core::Result<opi::QosVolume>> update(const opi::UpdateQosVolumeRequest& request);
    Task<core::Result<opi::ListQosVolumesResponse>> list(const opi::ListQosVolumesRequest& request);
    Task<core::Result<opi::QosVolume>> get(const opi::GetQosVolumeRequest& request);
    Task<core::Result<opi::StatsQosVolumeResponse>> stats(
        const opi::StatsQosVolumeRequest& request);

    /// Gives the data plane every stored limit; volumes may appear later.
    Task<> rebuild();

  private:
    Task<core::Result<void>> keep(Object<opi::QosVolume> object, node::Rates rates);

    Context& context_;
};

}  // namespace remora::control
