// The whole public C++ API.
#pragma once

#include "pycnn/autocast.h"
#include "pycnn/autograd.h"
#include "pycnn/capture.h"
#include "pycnn/dtype.h"
#include "pycnn/error.h"
#include "pycnn/generator.h"
#include "pycnn/graph.h"
#include "pycnn/io.h"
#include "pycnn/nn.h"
#include "pycnn/ops.h"
#include "pycnn/optim.h"
#include "pycnn/profiler.h"
#include "pycnn/shape.h"
#include "pycnn/tensor.h"
